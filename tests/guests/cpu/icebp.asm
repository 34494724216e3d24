; INT1 (0xf1) raises #DB as a trap and looks at no gate's DPL; INT3, INTO and INT n do (SDM 2A, INT).
%include "cpu.inc"
        START
        TRAPS DEBUG, 0, db 0xf1
        TO_RING3
        TRAPS DEBUG, 0, db 0xf1
        FAULTS GP, DEBUG * 8 + 2, int DEBUG
        FAULTS GP, BREAK * 8 + 2, int3
        mov al, 0x7f
        add al, 1
        FAULTS GP, OF * 8 + 2, into
        TO_RING0
        GATE OF, CODE, entry_4, 0xee
        TO_RING3
        mov al, 0x7f
        add al, 1
        TRAPS OF, 0, into
        xor al, al
        QUIET into
        TO_RING0
        PASS
