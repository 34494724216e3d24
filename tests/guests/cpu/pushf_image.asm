; The image that PUSHF makes has neither RF nor VM (SDM 2B, PUSHF).
%include "cpu.inc"
        START
        pushfd
        or dword [esp], F_RF
        push dword CODE
        push dword .in
        iret
.in:    pushfd
        pop eax
        test eax, F_RF
        CHECK z
        ; In virtual-8086 mode.
        TO_V86 F_IOPL
        pushfd
        pop eax
        test eax, F_VM | F_RF
        CHECK z
        and eax, F_IOPL
        CHECK_EQ eax, F_IOPL
        CHECK_EQ sp, REAL(user_stack_end)
        ; With RF for the instruction itself.
        pushfd
        or dword [esp - 4 + 4], F_RF
        popfd
        FROM_V86
        TO_V86 F_IOPL | F_RF
        pushfd
        pop eax
        test eax, F_VM | F_RF
        CHECK z
        FROM_V86
        PASS
