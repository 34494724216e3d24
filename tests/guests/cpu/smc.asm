; Code that changes itself: the next instruction, the block that is running, the other side of a page (SDM 3A, 8.1.3).
%include "cpu.inc"
        START
        mov byte [.a + 1], 5
.a:     mov al, 0
        CHECK_EQ al, 5
        ; Many times in a loop.
        xor ecx, ecx
        xor edx, edx
.loop:  inc byte [.b + 1]
        nop
.b:     mov al, 0
        movzx eax, al
        add edx, eax
        inc ecx
        cmp ecx, 100
        jb .loop
        CHECK_EQ edx, 5050
        ; An instruction that reaches over the end of a page, whose second half changes.
        mov edi, PAGE2 - 2
        mov byte [edi], 0xb8            ; MOV EAX, imm
        mov dword [edi + 1], 0x11111111
        mov byte [edi + 5], 0xc3
        call edi
        CHECK_EQ eax, 0x11111111
        mov dword [PAGE2], 0xc3222222
        mov byte [PAGE2 + 3], 0xc3
        call edi
        CHECK_EQ eax, 0x22222211
        ; A string instruction that overwrites what follows it.
        mov edi, .c
        mov ecx, 4
        mov al, 0x90
        cld
        rep stosb
.c:     db 0x0f, 0x0b, 0x0f, 0x0b
        ; A store that overwrites itself is complete.
        mov word [.d], 0x9090
.d:     db 0x0f, 0x0b
        PASS
