; Protected-mode virtual interrupts: with CR4.PVI at level 3 CLI and STI work on VIF (SDM 3A, 20.4).
%include "cpu.inc"
        START
        ; A processor that does not have VME refuses the bit.
        mov eax, 1
        cpuid
        test edx, 2
        jnz has
        mov eax, cr4
        or eax, 2
        FAULTS GP, 0, mov cr4, eax
        PASS
has:    mov eax, cr4
        or eax, 2
        mov cr4, eax
        TO_RING3
        QUIET sti
        pushfd
        pop eax
        test eax, F_IF
        CHECK z
        TO_RING0
        pushfd
        pop eax
        test eax, F_VIF
        CHECK nz
        TO_RING3
        QUIET cli
        TO_RING0
        pushfd
        pop eax
        test eax, F_VIF
        CHECK z
        ; A virtual interrupt that is pending: STI is #GP.
        pushfd
        or dword [esp], F_VIP
        popfd
        push dword USER_DATA
        push dword user_stack_end
        push dword F_VIP | 2
        push dword USER_CODE
        push dword user
        mov ax, USER_DATA
        mov ds, ax
        iret
user:   FAULTS GP, 0, sti
        QUIET cli
        TO_RING0
        PASS
