; HLT is left by an interrupt, which returns behind it; with the interrupt masked in the PIC it is not (SDM 2A, HLT).
%include "cpu.inc"
        START
        SET hook, tick
        SET got_count, 0
        mov al, 0x34
        out 0x43, al
        mov al, 0x00
        out 0x40, al
        mov al, 0x10
        out 0x40, al
        mov al, 0xfe
        out 0x21, al
        mov ecx, 5
.again: sti
        hlt
.behind: cli
        NOTED got_ip, .behind
        loop .again
        NOTED got_count, 5
        PASS
tick:   mov al, 0x20
        out 0x20, al
        ret
