; Opcodes that mean nothing are undefined, whatever comes behind them (SDM 2D, appendix A); a few have a meaning that is not written
; down.
%include "cpu.inc"
%macro UNDEFINED 1+
        FAULTS UD, 0, {db %1}
%endmacro
        START
        mov ebx, scratch
        push dword 0
        UNDEFINED 0x8f, 0xc8                    ; POP is /0
        UNDEFINED 0x8f, 0x0b
        UNDEFINED 0x8f, 0xff
        UNDEFINED 0x8f, 0xe8, 0x78, 0xc0, 0xc0, 1       ; XOP
        pop eax
        UNDEFINED 0xc6, 0xc8, 0                 ; MOV is /0
        UNDEFINED 0xc7, 0x0b, 0, 0, 0, 0
        UNDEFINED 0xfe, 0xd0
        UNDEFINED 0xff, 0xf8
        UNDEFINED 0x8e, 0xc8                    ; MOV to CS
        UNDEFINED 0x8e, 0xf0
        UNDEFINED 0x8c, 0xf8
        UNDEFINED 0x0f, 0x00, 0xf0
        UNDEFINED 0x0f, 0x01, 0x2b
        UNDEFINED 0x0f, 0x01, 0xfa
        UNDEFINED 0x0f, 0x04
        UNDEFINED 0x0f, 0x0a
        UNDEFINED 0x0f, 0x0c
        UNDEFINED 0x0f, 0x20, 0xc8              ; CR1
        UNDEFINED 0x0f, 0x24, 0xc0              ; test registers
        UNDEFINED 0x0f, 0x36
        UNDEFINED 0x0f, 0x71, 0xc0, 0
        UNDEFINED 0x0f, 0xba, 0xc0, 0
        UNDEFINED 0x0f, 0xc7, 0x03
        UNDEFINED 0x62, 0xc0
        UNDEFINED 0xd9, 0xe2
        UNDEFINED 0xdb, 0xf8
        UNDEFINED 0xdf, 0xf8
        UNDEFINED 0x0f, 0x0b
        mov eax, 0x41
        QUIET db 0xc0, 0xf0, 1                  ; SHL AL, 1
        CHECK_EQ al, 0x82
        stc
        QUIET db 0xd6                           ; SALC
        CHECK_EQ al, 0xff
        QUIET db 0x82, 0xe8, 1                  ; SUB AL, 1
        CHECK_EQ al, 0xfe
        PASS
