; A reset by port 0x92, bit 0. Ends by it.
%include "cpu.inc"
        START
        mov al, 'T'
        out DEBUG_CONSOLE, al
        in al, 0x92
        or al, 1
        out 0x92, al
.stop:  jmp .stop
