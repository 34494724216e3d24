; FCOMI, FCOMIP, FUCOMI and FUCOMIP: ZF, PF and CF say what they found, and AF, SF and OF are clear (SDM 2A, FCOMI). QEMU 7.2
; leaves those three as they are.
%include "cpu.inc"
F_ALL equ 0x8d5
%macro COMPARE 2+
        fld qword [other]
        fld qword [one]
        push dword F_ALL | 2
        popfd
        %2
        pushfd
        pop eax
        and eax, F_ALL
        CHECK_EQ eax, %1
        fninit
%endmacro
        START
        SET other, 0
        SET other + 4, 0x3ff00000               ; 1.0
        COMPARE 0x40, fcomi st1
        COMPARE 0x40, fcomip st1
        COMPARE 0x40, fucomi st1
        COMPARE 0x40, fucomip st1
        SET other + 4, 0x40000000               ; 2.0
        COMPARE 0x01, fcomi st1
        COMPARE 0x01, fucomip st1
        SET other + 4, 0
        COMPARE 0x00, fcomip st1
        COMPARE 0x00, fucomi st1
        SET other + 4, 0x7ff80000               ; a quiet NaN
        COMPARE 0x45, fcomi st1
        COMPARE 0x45, fucomip st1
        ; Where it raises #NM the flags stay.
        fld1
        mov eax, cr0
        or eax, 8
        mov cr0, eax
        SET got_count, 0
        SET resume, behind
        push dword F_ALL | 2
        popfd
        fcomi st0
behind: pushfd
        pop eax
        SET resume, 0
        and eax, F_ALL
        CHECK_EQ eax, F_ALL
        NOTED got_vector, NM
        NOTED got_count, 1
        PASS
        align 8
one     dq 1.0
other   dq 0
