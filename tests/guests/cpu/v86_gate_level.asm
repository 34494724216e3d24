; From virtual-8086 mode a gate must lead to level 0: #GP for the code segment (SDM 2A, INT).
; QEMU looks at the stack of that level first.
%include "cpu.inc"
        START
        DESC SLOT1, 0, 0xfffff, 0xbb, 0xc       ; level 1
        GATE 0x41, SLOT1, entry_65, 0xee
        TO_V86 F_IOPL
        FAULTS GP, SLOT1, int 0x41
        FROM_V86
        PASS
