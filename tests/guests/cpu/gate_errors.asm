; Error codes of bad gates: the vector with the IDT bit, the selector with the TI bit (SDM 3A, 6.13).
%include "cpu.inc"
        START
        ; Beyond the IDT.
        lidt [short_idt]
        FAULTS GP, 0x41 * 8 + 2, int 0x41
        lidt [idtr]
        ; Not present; the kind is looked at first.
        GATE 0x41, CODE, entry_65, 0x0e
        FAULTS NP, 0x41 * 8 + 2, int 0x41
        GATE 0x41, CODE, entry_65, 0x0c
        FAULTS GP, 0x41 * 8 + 2, int 0x41
        ; Kinds that are no gates of an IDT: a call gate, a TSS, a data segment.
        GATE 0x41, CODE, entry_65, 0x8c
        FAULTS GP, 0x41 * 8 + 2, int 0x41
        GATE 0x41, CODE, entry_65, 0x89
        FAULTS GP, 0x41 * 8 + 2, int 0x41
        GATE 0x41, CODE, entry_65, 0x9e
        FAULTS GP, 0x41 * 8 + 2, int 0x41
        ; What the gate names: null, beyond the GDT, data, not present.
        GATE 0x41, 0, entry_65, 0x8e
        FAULTS GP, 0, int 0x41
        GATE 0x41, 0x7fe8, entry_65, 0x8e
        FAULTS GP, 0x7fe8, int 0x41
        GATE 0x41, DATA, entry_65, 0x8e
        FAULTS GP, DATA, int 0x41
        DESC SLOT1, 0, 0xfffff, 0x1b, 0xc
        GATE 0x41, SLOT1, entry_65, 0x8e
        FAULTS NP, SLOT1, int 0x41
        ; In the LDT, which is null, and which then has a data segment.
        GATE 0x41, 0x0c, entry_65, 0x8e
        FAULTS GP, 0x0c, int 0x41
        DESC LDT, ldt, 15, 0x82, 0
        mov ax, LDT
        lldt ax
        FAULTS GP, 0x0c, int 0x41
        GATE 0x41, 0x14, entry_65, 0x8e
        FAULTS GP, 0x14, int 0x41
        ; A task gate that names no TSS, one that is busy, one that is not present.
        GATE 0x41, CODE, 0, 0x85
        FAULTS GP, CODE, int 0x41
        GATE 0x41, TSS_MAIN, 0, 0x85
        FAULTS GP, TSS_MAIN, int 0x41
        DESC SLOT1, tss, 103, 0x09, 0
        GATE 0x41, SLOT1, 0, 0x85
        FAULTS NP, SLOT1, int 0x41
        PASS
short_idt:
        dw 0x41 * 8 - 1
        dd idt
ldt:    dq 0, 0x00cf93000000ffff
