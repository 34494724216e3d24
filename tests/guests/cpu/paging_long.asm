; Four-level paging: NX, reserved bits, levels, addresses that are not canonical (SDM 3A, 4.5; SDM 1, 3.3.7.1).
%include "cpu.inc"
        START
        TO_LONG
        MAP64 PAGE1, 0, 0
        FAULTS PF, 0, mov al, [PAGE1 + 7]
        NOTED got_cr2, PAGE1 + 7
        FAULTS PF, 2, mov [PAGE1 + 7], al
        MAP64 PAGE1, PAGE1 + (P | W | U), 1 << 31
        QUIET mov al, [PAGE1]
        mov ebx, PAGE1
        FAULTS_ELSEWHERE PF, 0x11, call rbx
        NOTED got_cr2, PAGE1
        add rsp, 8
        MAP64 PAGE2, PAGE2 + (P | W | U), 1 << 19
        FAULTS PF, 9, mov al, [PAGE2]
        ; A page across a hole: the second page's address.
        MAP64 PAGE3, PAGE3 + (P | W | U), 0
        MAP64 PAGE4, 0, 0
        mov ebx, PAGE4 - 3
        FAULTS PF, 0, mov rax, [rbx]
        NOTED got_cr2, PAGE4
        FAULTS PF, 2, mov [rbx], rax
        NOTED got_cr2, PAGE4
        ; In the level above: user bit.
        MAP64 PAGE4, PAGE4 + (P | W | U), 0
        TO_RING3_64
        mov ebx, PAGE4
        QUIET mov al, [rbx]
        FAULTS GP, 0, cli
        FAULTS GP, 0, hlt
        int 0x30
        PASS
