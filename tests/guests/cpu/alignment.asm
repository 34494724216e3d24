; #AC: with CR0.AM and EFLAGS.AC, at level 3 only (SDM 3A, 6.15, interrupt 17).
%include "cpu.inc"
        START
        mov eax, cr0
        or eax, 1 << 18
        mov cr0, eax
        pushfd
        or dword [esp], F_AC
        popfd
        QUIET mov eax, [scratch + 1]
        TO_RING3
        FAULTS AC, 0, mov eax, [scratch + 1]
        FAULTS AC, 0, mov [scratch + 2], eax
        FAULTS AC, 0, mov ax, [scratch + 1]
        QUIET mov ax, [scratch + 2]
        QUIET mov al, [scratch + 1]
        QUIET mov eax, [scratch + 4]
        pushfd
        and dword [esp], ~F_AC
        popfd
        QUIET mov eax, [scratch + 1]
        PASS
