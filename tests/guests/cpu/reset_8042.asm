; A reset by the 8042, command 0xfe. Ends by it.
%include "cpu.inc"
        START
        mov al, 'T'
        out DEBUG_CONSOLE, al
        mov al, 0xfe
        out 0x64, al
.stop:  jmp .stop
