; A reset by the reset control register 0xcf9. Ends by it.
%include "cpu.inc"
        START
        mov al, 'T'
        out DEBUG_CONSOLE, al
        mov dx, 0xcf9
        mov al, 2
        out dx, al
        mov al, 6
        out dx, al
.stop:  jmp .stop
