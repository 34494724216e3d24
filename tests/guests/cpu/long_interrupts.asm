; Interrupts in long mode: SS:RSP always pushed, the stack aligned, IST, levels, #GP for gates of other kinds (SDM 3A, 6.14).
%include "cpu.inc"
        START
        TO_LONG
        mov rsp, kernel_stack_end - 0x103
        mov rbx, rsp
        SET resume, -1
        int 0x41
        SET resume, 0
        CHECK_EQ rsp, rbx
        cmp [got_old_sp], rbx
        CHECK e
        NOTED got_old_ss, DATA
        NOTED got_sp, kernel_stack_end - 0x110 - 40
        mov rsp, kernel_stack_end
        FAULTS UD, 0, ud2
        GATE64 0x42, CODE, long_66, 0x8e, 1
        SET resume, -1
        int 0x42
        SET resume, 0
        NOTED got_sp, ist1_end - 40
        CHECK_EQ rsp, kernel_stack_end
        GATE64 0x43, CODE32, long_67, 0x8e, 0
        FAULTS GP, CODE32, int 0x43
        GATE64 0x43, CODE, long_67, 0x85, 0
        FAULTS GP, 0x43 * 8 + 2, int 0x43
        GATE64 0x43, CODE, long_67, 0x0e, 0
        FAULTS NP, 0x43 * 8 + 2, int 0x43
        TO_RING3_64
        mov rbx, rsp
        FAULTS UD, 0, ud2
        cmp [got_old_sp], rbx
        CHECK e
        NOTED got_old_ss, USER_DATA
        NOTED got_sp, kernel_stack_end - 40
        NOTED got_ss, 0
        FAULTS GP, 0x44 * 8 + 2, int 0x44
        FAULTS UD, 0, {db 0x06}         ; PUSH ES
        FAULTS UD, 0, {db 0xce}         ; INTO
        int 0x30
        PASS
