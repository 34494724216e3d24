; A fault while a double fault is delivered shuts the processor down, and the board resets it. Ends by reset.
%include "cpu.inc"
        START
        mov al, 'T'
        out DEBUG_CONSOLE, al
        lidt [no_idt]
        int3
        NEVER
no_idt: dw 0
        dd 0
