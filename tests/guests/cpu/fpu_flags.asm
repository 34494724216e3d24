; The exceptions of x87 arithmetic in the status word, masked and unmasked (SDM 1, 8.4 and 8.5).
; QEMU 7.2 does not look at unmasked exceptions before an instruction.
%include "cpu.inc"
%macro STATUS_IS 1
        fnstsw ax
        and al, 0xbf                    ; without SF
        CHECK_EQ al, %1
        fnclex
%endmacro
        START
        ; Precision.
        fld1
        fld dword [three]
        fdivp
        STATUS_IS 0x20
        ; Invalid: 0 / 0, an SNaN.
        fldz
        fldz
        fdivp
        STATUS_IS 0x01
        fld dword [snan]
        STATUS_IS 0x01
        ; Overflow and underflow with precision, in a store of 32 bits.
        fninit
        fld qword [huge]
        fstp dword [scratch]
        STATUS_IS 0x28
        CHECK_EQ dword [scratch], 0x7f800000
        fld qword [tiny]
        fstp dword [scratch]
        STATUS_IS 0x30
        ; An integer that does not fit.
        fld qword [huge]
        fistp dword [scratch]
        STATUS_IS 0x01
        CHECK_EQ dword [scratch], 0x80000000
        ; Flags stay until they are cleared.
        fld1
        fld dword [three]
        fdivp
        fldz
        fldz
        fdivp
        fld1
        STATUS_IS 0x21
        ; Unmasked, the next waiting instruction raises it.
        fninit
        fldcw [precision_unmasked]
        fld1
        fld dword [three]
        fdivp
        FAULTS MF, 0, fld1
        fnstsw ax
        and ax, 0x80ff
        CHECK_EQ ax, 0x80a0
        ; Masked again by an instruction that does not wait, it is not raised, and the summary is gone.
        mov eax, cr4
        or eax, 1 << 9
        mov cr4, eax
        fxsave [scratch]
        mov word [scratch], 0x037f
        fxrstor [scratch]
        fnstsw ax
        and ax, 0x80ff
        CHECK_EQ ax, 0x0020
        QUIET fwait
        PASS
three:  dd 3.0
snan:   dd 0x7f800001
        align 8
huge:   dq 1e300
tiny:   dq 1e-300
precision_unmasked: dw 0x035f
