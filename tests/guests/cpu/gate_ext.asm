; The EXT bit: a fault met while an exception or a hardware interrupt is delivered, not INT n (SDM 3A, 6.13).
%include "cpu.inc"
        START
        ; #UD through a gate that is not present is #NP for gate 6, and came from no program's INT.
        GATE UD, CODE, entry_6, 0x0e
        FAULTS NP, UD * 8 + 2 + 1, ud2
        GATE UD, DATA, entry_6, 0x8e
        FAULTS GP, DATA + 1, ud2
        GATE UD, 0, entry_6, 0x8e
        FAULTS GP, 1, ud2
        GATE UD, CODE, entry_6, 0x8e
        ; INT3 and INT n do not set it.
        GATE BREAK, CODE, entry_3, 0x0e
        FAULTS NP, BREAK * 8 + 2, int3
        ; An interrupt of the timer.
        GATE 0x20, CODE, entry_32, 0x0e
        mov al, 0x34
        out 0x43, al
        mov al, 100
        out 0x40, al
        xor al, al
        out 0x40, al
        mov al, 0xfe
        out 0x21, al
        SET got_vector, -1
        SET resume, interrupted
        sti
.wait:  jmp .wait
interrupted:
        cli
        NOTED got_vector, NP
        NOTED got_error, 0x20 * 8 + 2 + 1
        PASS
