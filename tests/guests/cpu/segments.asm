; Loads of segment registers: privilege, presence, kind, null, the accessed bit; LAR, LSL, VERR, VERW, ARPL (SDM 3A, 5.6).
%include "cpu.inc"
        START
        DESC SLOT1, 0, 0xfffff, 0x12, 0xc       ; data, not present
        DESC SLOT2, 0, 0xfffff, 0x99, 0xc       ; code, execute only
        DESC SLOT3, 0, 0x0ffff, 0x92, 4         ; data, not accessed
        DESC SLOT4, 0, 0xfffff, 0xf0, 0xc       ; data of level 3, read only
        xor eax, eax
        QUIET mov fs, ax
        mov ax, SLOT1
        FAULTS NP, SLOT1, mov es, ax
        FAULTS SS_FAULT, SLOT1, mov ss, ax
        mov ax, SLOT2
        FAULTS GP, SLOT2, mov es, ax
        mov ax, SLOT4
        FAULTS GP, SLOT4, mov ss, ax
        xor ax, ax
        FAULTS GP, 0, mov ss, ax
        mov ax, USER_DATA
        FAULTS GP, USER_DATA & ~3, mov ss, ax
        mov ax, CODE
        FAULTS GP, CODE, mov ss, ax
        FAULTS UD, 0, {db 0x8e, 0xc8}           ; MOV CS, AX
        mov ax, 0x7fe8
        FAULTS GP, 0x7fe8, lldt ax
        mov ax, DATA
        FAULTS GP, DATA, ltr ax
        mov al, [gdt + SLOT3 + 5]
        CHECK_EQ al, 0x92
        mov ax, SLOT3
        QUIET mov es, ax
        mov al, [gdt + SLOT3 + 5]
        CHECK_EQ al, 0x93
        ; LAR and LSL.
        mov ax, SLOT3
        lar ebx, ax
        CHECK z
        CHECK_EQ ebx, 0x00409300
        lsl ebx, ax
        CHECK z
        CHECK_EQ ebx, 0xffff
        mov ax, DATA
        lsl ebx, ax
        CHECK_EQ ebx, 0xffffffff
        mov ax, 0x7fe8
        lar ebx, ax
        CHECK nz
        verr ax
        CHECK nz
        mov ax, SLOT2
        verr ax
        CHECK nz
        mov ax, SLOT4
        verr ax
        CHECK z
        verw ax
        CHECK nz
        mov ax, 0x10
        mov bx, 3
        arpl ax, bx
        CHECK z
        CHECK_EQ ax, 0x13
        arpl ax, bx
        CHECK nz
        TO_RING3
        mov ax, DATA
        FAULTS GP, DATA, mov es, ax
        lar ebx, ax
        CHECK nz
        PASS
