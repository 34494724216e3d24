; Values that control registers refuse, and registers that do not exist (SDM 3A, 2.5; SDM 2B, MOV).
%include "cpu.inc"
        START
        mov eax, cr0
        or eax, 1 << 31
        and eax, ~1
        FAULTS GP, 0, mov cr0, eax      ; PG without PE
        mov eax, cr0
        or eax, 1 << 29
        and eax, ~(1 << 30)
        FAULTS GP, 0, mov cr0, eax      ; NW without CD
        mov eax, cr4
        or eax, 1 << 31
        FAULTS GP, 0, mov cr4, eax      ; reserved
        FAULTS UD, 0, {db 0x0f, 0x20, 0xc8}     ; MOV EAX, CR1
        FAULTS UD, 0, {db 0x0f, 0x22, 0xe8}     ; MOV CR5, EAX
        ; LMSW cannot clear PE; CR0.ET is always 1; CLTS.
        xor eax, eax
        lmsw ax
        mov eax, cr0
        test eax, 1
        CHECK nz
        and eax, ~0x10
        mov cr0, eax
        mov eax, cr0
        test eax, 0x10
        CHECK nz
        PASS
