; Addresses that are not canonical: #GP(0), #SS(0) through the stack, and no page fault (SDM 1, 3.3.7.1).
%include "cpu.inc"
        START
        TO_LONG
        mov rbx, 0x0000800000000000
        FAULTS GP, 0, mov al, [rbx]
        FAULTS GP, 0, mov [rbx], al
        mov rbx, 0x4503802e7b4a5b03
        FAULTS GP, 0, mov rax, [rbx]
        mov rbx, 0x00007ffffffffffd
        FAULTS GP, 0, mov rax, [rbx]
        mov rsi, 0x1234800000000000
        mov edi, scratch
        mov ecx, 3
        FAULTS GP, 0, rep movsb
        CHECK_EQ ecx, 3
        mov rbp, 0x0000900000000000
        FAULTS SS_FAULT, 0, mov al, [rbp]
        PASS
