; A boot sector: it clears the text screen, writes a line on it by itself and by the BIOS, and overwrites a character of it and an
; attribute. In the end it leaves by isa-debug-exit.

DEBUG_EXIT  equ 0xf4
EXIT_PASS   equ 0x10
COLUMNS     equ 80
ROWS        equ 25
BLANK       equ 0x0720                  ; grey on black
BLUE        equ 0x1f                    ; white on blue

bits 16
org 0x7c00
        jmp 0:start
start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov ax, 0xb800
        mov es, ax

        xor di, di
        mov cx, COLUMNS * ROWS
        mov ax, BLANK
        rep stosw

        xor di, di
        mov si, text
        mov ah, BLUE
.next:  lodsb
        test al, al
        jz .done
        stosw
        jmp .next
.done:
        mov byte [es:2 * 2], 'X'
        mov byte [es:2 * 2 + 1], 0x4f

        ; The BIOS writes the other line.
        mov ah, 0x02
        mov bh, 0
        mov dx, 0x0100
        int 0x10
        mov si, text
.tty:   lodsb
        test al, al
        jz .leave
        mov ah, 0x0e
        mov bx, 0x0007
        int 0x10
        jmp .tty
.leave: mov al, EXIT_PASS
        out DEBUG_EXIT, al
.halt:  cli
        hlt
        jmp .halt

text:   db "Hello", 0

        times 510 - ($ - $$) db 0
        dw 0xaa55
