; A non-maskable interrupt, sent by the local APIC to itself: taken with IF clear, not in an interrupt shadow, blocked in its own
; handler until IRET, and only one waits (SDM 3A, 6.7 and 10.6.1).
%include "cpu.inc"
APIC equ 0xfee00000
%macro SEND_NMI 0
        mov dword [APIC + 0x310], 0
        mov dword [APIC + 0x300], 0x4400
        jmp %%sent                      ; it has time to arrive
%%sent:
%endmacro
        START
        mov eax, 1
        cpuid
        test edx, 1 << 9
        CHECK nz
        ; The processor's own number is where the message goes.
        mov eax, [APIC + 0x20]
        shr eax, 24
        CHECK z
        or dword [APIC + 0xf0], 0x100
        SET hook, quiet
        SET got_count, 0
        SEND_NMI
        nop
        nop
        NOTED got_count, 1
        NOTED got_vector, NMI
        NOTED got_error, 0
        pushfd
        pop eax
        test eax, F_IF
        CHECK z
        ; Two that come in the handler are one, behind its IRET.
        SET hook, twice
        SEND_NMI
        nop
        nop
        NOTED got_count, 3
        NOTED inside, 2
        ; Another exception's IRET in the handler ends the blocking.
        SET hook, nested
        SEND_NMI
        nop
        nop
        NOTED got_count, 6
        NOTED inside, 6
        PASS
quiet:  ret
twice:  SET hook, quiet
        SEND_NMI
        SEND_NMI
        nop
        nop
        mov eax, [got_count]
        mov [inside], eax
        ret
nested: SET hook, quiet
        SEND_NMI
        nop
        nop
        NOTED got_count, 4
        int 0x41                        ; its handler's IRET lets the waiting one in
        nop
        mov eax, [got_count]
        mov [inside], eax
        ret
section .bss
inside: resd 1
section .text
