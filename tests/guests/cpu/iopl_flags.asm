; CLI and STI need IOPL; POPF and IRET without it change neither IF nor IOPL, and say nothing (SDM 2B, POPF).
%include "cpu.inc"
        START
        TO_RING3
        FAULTS GP, 0, cli
        FAULTS GP, 0, sti
        pushfd
        pop ebx
        push dword F_IF | F_IOPL | F_CF | 2
        QUIET popfd
        pushfd
        pop eax
        test eax, F_IF | F_IOPL
        CHECK z
        push dword F_IF | F_IOPL | 2
        popfd
        pushfd
        pop eax
        test eax, F_IF | F_IOPL
        CHECK z
        ; IRET to the same level.
        push dword F_IF | F_IOPL | F_CF | 2
        push dword USER_CODE
        push dword .to
        iret
.to:    pushfd
        pop eax
        test eax, F_CF
        CHECK nz
        test eax, F_IF | F_IOPL
        CHECK z
        TO_RING0
        ; With IOPL 3 all of it but IOPL works.
        pushfd
        or dword [esp], F_IOPL
        popfd
        TO_RING3
        QUIET cli
        pushfd
        and dword [esp], ~F_IOPL
        popfd
        pushfd
        pop eax
        and eax, F_IOPL
        CHECK_EQ eax, F_IOPL
        push dword F_IF | 2
        popfd
        pushfd
        pop eax
        test eax, F_IF
        CHECK nz
        cli
        TO_RING0
        PASS
