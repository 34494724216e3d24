; The resume flag: in the image that a fault leaves, and what IRET does with it (SDM 3A, 17.3.1.1).
; QEMU 7.2 does not set it in the image of a fault.
%include "cpu.inc"
        START
        FAULTS UD, 0, ud2
        test dword [got_flags], F_RF
        CHECK nz
        xor ecx, ecx
        FAULTS DE, 0, div ecx
        test dword [got_flags], F_RF
        CHECK nz
        ; A trap and INT leave it as it was.
        TRAPS BREAK, 0, int3
        test dword [got_flags], F_RF
        CHECK z
        ; PUSHF shows it as 0, POPF does not set it.
        push dword F_RF | 2
        popfd
        pushfd
        pop eax
        test eax, F_RF
        CHECK z
        PASS
