; The offset of a gate must lie within the limit of its code segment (SDM 3A, 6.12.1, INT).
; QEMU has no limits of code segments.
%include "cpu.inc"
        START
        DESC SLOT1, 0, 0x100, 0x9b, 4
        GATE 0x41, SLOT1, entry_65, 0x8e
        FAULTS GP, 0, int 0x41
        PASS
