; Real mode, endless: what busy32 does there, with 16-bit means. Stores through segments, calls, software interrupts, string
; instructions forwards and backwards, exceptions, code that changes itself, timer and serial interrupts, and halts.
%include "busy.inc"

LOAD        equ 0x100000
REAL        equ 0x8000
VARIABLES   equ 0x500
BUFFER      equ 0x2000                  ; a segment

section .text vstart=LOAD
bits 32
header: dd 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd header, LOAD, 0, 0, start

start:  cli
        cld
        mov esi, real_image
        mov edi, REAL
        mov ecx, real_bytes
        rep movsb
        lgdt [gdtr]
        jmp 0x08:REAL

        align 8
gdt:    dq 0, 0x00009b000000ffff, 0x000093000000ffff
gdtr:   dw 23
        dd gdt

real_image:

section .real vstart=REAL follows=.text align=1
bits 16
        mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov eax, cr0
        and al, 0xfe
        mov cr0, eax
        jmp 0:real
real:   xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        lidt [idtr]
        mov di, VARIABLES
        mov es, ax
        mov cx, 64
        rep stosw
        mov word [0 * 4], divide_error
        mov word [0 * 4 + 2], ax
        mov word [8 * 4], timer
        mov word [8 * 4 + 2], ax
        mov word [12 * 4], serial
        mov word [12 * 4 + 2], ax
        mov word [0x60 * 4], service
        mov word [0x60 * 4 + 2], ax
        BUSY_CHIPS 8, 70
        mov ax, BUFFER
        mov es, ax
        xor bx, bx
        sti

again:  inc bx
        mov [VARIABLES], bx             ; every turn
        mov ax, bx
        imul ax, ax, 25173
        mov di, ax
        mov [es:di], bl                 ; anywhere in the segment
        call work
        mov ax, bx
        and ax, 7
        jnz .no_change
        inc byte [changing + 1]
.no_change:
changing:
        mov al, 0
        mov [VARIABLES + 2], al
        test bx, 31
        jnz .no_string
        push ds
        push es
        pop ds
        mov si, di
        add di, 0x1234
        mov cx, 40
        rep movsw
        mov cx, 50
        std
        rep stosb
        cld
        pop ds
.no_string:
        test bx, 63
        jnz .no_service
        int 0x60
.no_service:
        test bx, 127
        jnz .no_fault
        xor cl, cl
        div cl
.no_fault:
        test bx, 255
        jnz again
        hlt
        jmp again

work:   push bx
        mov cx, 4
.more:  add bx, cx
        loop .more
        xchg bx, [VARIABLES + 4]
        pop bx
        ret

service:
        inc word [VARIABLES + 8]
        iret

; Skips the two bytes of DIV.
divide_error:
        push bp
        mov bp, sp
        add word [bp + 2], 2
        inc word [VARIABLES + 12]
        pop bp
        iret

timer:  push ax
        inc word [VARIABLES + 16]
        mov al, 0x20
        out 0x20, al
        pop ax
        iret

serial: push ax
        push dx
        mov dx, 0x3f8
        in al, dx
        mov [VARIABLES + 20], al
        mov al, 0x20
        out 0x20, al
        pop dx
        pop ax
        iret

idtr:   dw 0x3ff
        dd 0

real_bytes  equ $ - REAL
