; Code in the memory of the display adapter: fetched through its window as data is read, so that what runs is what the adapter's
; registers make it show (IBM VGA, Sequencer and Graphics Controller registers).
%include "cpu.inc"
%define WINDOW 0xa0000
; A register of the Sequencer or the Graphics Controller: port of its index, index, value. Changes EAX and EDX.
%macro REG 3
        mov dx, %1
        mov ax, (%3) << 8 | (%2)
        out dx, ax
%endmacro
%define SEQ 0x3c4
%define GC 0x3ce
; To an address, by bytes from here.
%macro COPY 2
        mov edi, %1
        mov esi, %2
        mov ecx, %2_bytes
        rep movsb
%endmacro
        START
        cld
        ; All four planes behind one another, as in mode 13h.
        REG SEQ, 2, 0x0f
        REG SEQ, 4, 0x0e
        REG GC, 1, 0
        REG GC, 3, 0
        REG GC, 5, 0x40
        REG GC, 6, 0x05
        REG GC, 8, 0xff
        COPY WINDOW, adds
        mov eax, 1
        call WINDOW
        CHECK_EQ eax, 1 + 0x1234
        ; A loop there, which changes its own constant.
        COPY WINDOW + 0x100, loops
        call WINDOW + 0x100
        CHECK_EQ edx, 5050
        ; The next instruction is overwritten by the one before.
        COPY WINDOW + 0x200, overwrites
        xor eax, eax
        call WINDOW + 0x200
        CHECK_EQ eax, 7
        ; A string instruction that overwrites what comes behind it, and one iteration after the other.
        COPY WINDOW + 0x300, fills
        mov edi, WINDOW + 0x300 + fills.behind - fills
        mov ecx, 4
        mov al, 0x90
        call WINDOW + 0x300
        CHECK_EQ ecx, 0
        ; From RAM into the window in the middle of an instruction, and from page to page in it.
        COPY WINDOW - 3, adds
        mov eax, 2
        call WINDOW - 3
        CHECK_EQ eax, 2 + 0x1234
        COPY WINDOW + 0xffd, adds
        mov eax, 3
        call WINDOW + 0xffd
        CHECK_EQ eax, 3 + 0x1234
        mov byte [WINDOW + 0x1000 - 2], 0x35    ; its constant, in the first page
        mov eax, 3
        call WINDOW + 0xffd
        CHECK_EQ eax, 3 + 0x1235
        ; Faults say where.
        mov word [WINDOW + 0x400], 0x0b0f       ; UD2
        SET got_count, 0
        SET resume, .back
        mov [saved], esp
        call WINDOW + 0x400
        NEVER
.back:  SET resume, 0
        mov esp, [saved]
        NOTED got_count, 1
        NOTED got_vector, UD
        NOTED got_ip, WINDOW + 0x400
        ; The planes one by one: the same address has other code in each, and which is seen depends on a register.
        REG SEQ, 4, 0x06
        REG GC, 5, 0x00
        REG SEQ, 2, 0x01
        COPY WINDOW + 0x500, one
        REG SEQ, 2, 0x04
        COPY WINDOW + 0x500, four
        REG GC, 4, 0
        mov ebx, 0
        call WINDOW + 0x500
        CHECK_EQ ebx, 1
        REG GC, 4, 2
        call WINDOW + 0x500
        CHECK_EQ ebx, 5
        ; Code that turns to the other plane under itself: the next instruction is the other plane's.
        REG SEQ, 2, 0x05
        COPY WINDOW + 0x600, turns
        REG SEQ, 2, 0x01
        COPY WINDOW + 0x600 + turns_bytes, one
        REG SEQ, 2, 0x04
        COPY WINDOW + 0x600 + turns_bytes, four
        mov ebx, 0
        mov dx, GC
        mov ax, 0x0004
        call WINDOW + 0x600
        CHECK_EQ ebx, 1
        ; By other linear addresses.
        PAGING
        MAP PAGE1, WINDOW | P | W
        mov ebx, 0
        call PAGE1 + 0x500
        CHECK_EQ ebx, 1
        mov byte [PAGE1 + 0x500 + 2], 9
        REG SEQ, 2, 0x01
        mov byte [PAGE1 + 0x500 + 2], 3
        call PAGE1 + 0x500
        CHECK_EQ ebx, 4
        ; And other memory by the same.
        COPY PAGE2 + 0x500, four
        MAP PAGE1, PAGE2 | P | W
        mov ebx, 0
        call PAGE1 + 0x500
        CHECK_EQ ebx, 4
        MAP PAGE1, WINDOW | P | W
        call PAGE1 + 0x500
        CHECK_EQ ebx, 7
        PASS

adds:   add eax, 0x1234
        ret
adds_bytes equ $ - adds
loops:  xor ecx, ecx
        xor edx, edx
.again: inc byte [WINDOW + 0x100 + .constant + 1 - loops]
.constant: mov al, 0
        movzx eax, al
        add edx, eax
        inc ecx
        cmp ecx, 100
        jb .again
        ret
loops_bytes equ $ - loops
overwrites: mov byte [WINDOW + 0x200 + .constant + 1 - overwrites], 7
.constant: mov al, 5
        ret
overwrites_bytes equ $ - overwrites
fills:  rep stosb
.behind: db 0x0f, 0x0b, 0x0f, 0x0b
        ret
fills_bytes equ $ - fills
one:    add ebx, 1
        ret
one_bytes equ $ - one
four:   add ebx, 4
        ret
four_bytes equ $ - four
turns:  out dx, ax
turns_bytes equ $ - turns
saved:  dd 0
