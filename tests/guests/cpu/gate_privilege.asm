; From level 3 to 0 by INT, interrupts and exceptions: the stack of the TSS, SS:ESP pushed, the gate's DPL (SDM 3A, 6.12.1).
%include "cpu.inc"
        START
        GATE 0x41, CODE, entry_65, 0xee
        GATE BREAK, CODE, entry_3, 0xee
        TO_RING3
        SET resume, -1
        SET got_count, 0
        mov esi, esp
        int 0x41
after:  SET resume, 0
        NOTED got_count, 1
        NOTED got_vector, 0x41
        NOTED got_ip, after
        NOTED got_cs, USER_CODE
        NOTED got_sp, kernel_stack_end - 20
        NOTED got_ss, DATA
        CHECK_EQ [kernel_stack_end - 8], esi
        NOTED kernel_stack_end - 4, USER_DATA
        CHECK_EQ esp, esi
        mov ax, ss
        CHECK_EQ ax, USER_DATA
        ; INT to a gate of level 0 is #GP for the gate.
        FAULTS GP, 0x42 * 8 + 2, int 0x42
        FAULTS GP, UD * 8 + 2, int UD
        ; An exception does not look at the gate's DPL; INT3 does, and its gate has 3 here.
        FAULTS UD, 0, ud2
        NOTED got_sp, kernel_stack_end - 20
        TRAPS BREAK, 0, int3
        TO_RING0
        GATE BREAK, CODE, entry_3, 0x8e
        TO_RING3
        FAULTS GP, BREAK * 8 + 2, int3
        TO_RING0
        ; A gate may not lead to an outer level.
        GATE 0x43, USER_CODE, entry_67, 0x8e
        FAULTS GP, USER_CODE & ~3, int 0x43
        PASS
