; BOUND: #BR as a fault outside the bounds, which are signed and included (SDM 2A, BOUND).
%include "cpu.inc"
        START
        mov dword [scratch], -5
        mov dword [scratch + 4], 10
        mov eax, -5
        QUIET bound eax, [scratch]
        mov eax, 10
        QUIET bound eax, [scratch]
        mov eax, 11
        FAULTS BR, 0, bound eax, [scratch]
        mov eax, -6
        FAULTS BR, 0, bound eax, [scratch]
        mov word [scratch], 1
        mov word [scratch + 2], 2
        mov ax, 3
        FAULTS BR, 0, bound ax, [scratch]
        FAULTS UD, 0, {db 0x62, 0xc0}     ; a register operand
        PASS
