; Real mode without a BIOS: interrupt vectors, exceptions, single steps, string instructions, and a timer that wakes HLT.
;
; A Multiboot kernel with load addresses in its header. Its 32-bit part copies the 16-bit part to 0x8000 and goes back to
; real mode there. Each check prints a letter on COM1; the end is PASS or FAIL.

MAGIC       equ 0x1badb002
FLAGS       equ 0x10000                 ; the address fields are valid
LOAD        equ 0x100000
REAL        equ 0x8000
BUFFER      equ 0x2000                  ; segment of the buffers for string instructions
COM1        equ 0x3f8
DEBUG_EXIT  equ 0xf4
EXIT_PASS   equ 0x10
EXIT_FAIL   equ 0x11

section .text vstart=LOAD
bits 32
header: dd MAGIC, FLAGS, -(MAGIC + FLAGS)
        dd header, LOAD, 0, 0, start    ; header, load, all of the file, no bss, entry

start:  cli
        cld
        mov esi, real_image
        mov edi, REAL
        mov ecx, real_bytes
        rep movsb
        lgdt [gdtr]
        jmp 0x08:REAL

        align 8
gdt:    dq 0
        dq 0x00009b000000ffff           ; 16-bit code, base 0
        dq 0x000093000000ffff           ; 16-bit data, base 0
gdtr:   dw $ - gdt - 1
        dd gdt

real_image:

section .real vstart=REAL follows=.text align=1
bits 16
; Still in protected mode: segment limits are brought back to 64 KiB before it is left.
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
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        lidt [idtr]
        call fill_vectors

        call software_interrupts
        call exceptions
        call single_steps
        call strings
        call timer
        call interrupted_strings

        mov si, text_pass
        call print
        mov al, EXIT_PASS
        out DEBUG_EXIT, al
        jmp halt

fail:   mov si, text_fail
        call print
        mov al, EXIT_FAIL
        out DEBUG_EXIT, al
halt:   cli
        hlt
        jmp halt

; Every vector fails, but for those that are expected.
fill_vectors:
        xor di, di
        mov cx, 256
.next:  mov word [di], fail
        mov word [di + 2], 0
        add di, 4
        loop .next
        mov word [0 * 4], on_divide
        mov word [1 * 4], on_step
        mov word [3 * 4], on_int
        mov word [4 * 4], on_int
        mov word [6 * 4], on_undefined
        mov word [8 * 4], on_timer
        mov word [0x40 * 4], on_int
        ret

; INT n, INT3 and INTO go through the table and come back with the flags as they were.
software_interrupts:
        mov dx, sp
        xor bx, bx
        stc
        int 0x40
        jnc fail
        int3
        mov al, 0x7f
        add al, 1                       ; sets OF
        into
        jno fail
        cmp bx, 3
        jne fail
        cmp dx, sp
        jne fail
        mov al, 'i'
        jmp put

; A fault pushes the address of the instruction itself.
exceptions:
        mov word [resume], .divided
        mov dx, 1
        xor ax, ax
        xor cx, cx
.divide:
        div cx
        jmp fail
.divided:
        cmp word [faulted_at], .divide
        jne fail
        mov word [resume], .defined
.undefined:
        ud2
        jmp fail
.defined:
        cmp word [faulted_at], .undefined
        jne fail
        mov al, 'e'
        jmp put

; TF traps after each instruction that began with it set, so the POPF that clears it is the last one.
single_steps:
        mov word [steps], 0
        pushf
        pop ax
        mov bx, ax
        or ax, 0x100
        push bx
        push ax
        popf
        nop
        nop
        popf
        nop
        cmp word [steps], 3
        jne fail
        mov al, 's'
        jmp put

; REP with every string instruction, both ways, and with a count of zero.
strings:
        mov ax, BUFFER
        mov es, ax
        push ds
        mov ds, ax
        xor di, di
        mov cx, 0x1000
.fill:  mov ax, di
        stosw
        loop .fill                      ; word at 2n is 2n
        xor si, si
        mov di, 0x4000
        mov cx, 0x1000
        rep movsw
        cmp si, 0x2000
        jne .bad
        cmp di, 0x6000
        jne .bad
        mov byte [0x5234], 0x99         ; was 0x34
        xor si, si
        mov di, 0x4000
        mov cx, 0x2000
        repe cmpsb
        je .bad
        cmp di, 0x5235                  ; one past the difference
        jne .bad
        mov di, 0x4000
        mov cx, 0x2000
        mov al, 0x99
        repne scasb
        jne .bad
        mov ax, di                      ; position and count belong together
        sub ax, 0x4000
        add ax, cx
        cmp ax, 0x2000
        jne .bad
        ; Overlapping copy downwards keeps the contents.
        std
        mov si, 0x1fff
        mov di, 0x2000
        mov cx, 0x2000
        rep movsb
        cld
        cmp si, 0xffff
        jne .bad
        cmp word [1], 0
        jne .bad
        cmp word [0x1001], 0x1000
        jne .bad
        ; A count of zero does nothing.
        mov di, 0x7000
        mov word [di], 0x1234
        xor cx, cx
        mov ax, 0x5678
        rep stosw
        cmp di, 0x7000
        jne .bad
        cmp word [di], 0x1234
        jne .bad
        pop ds
        mov al, 'r'
        jmp put
.bad:   pop ds
        jmp fail

; The timer at 100 Hz on vector 8 wakes HLT; STI lets no interrupt in before the HLT behind it.
timer:  mov al, 0x11
        out 0x20, al
        mov al, 8
        out 0x21, al
        mov al, 4
        out 0x21, al
        mov al, 1
        out 0x21, al
        mov al, 0xfe
        out 0x21, al
        mov al, 0x34
        out 0x43, al
        mov ax, 11932
        out 0x40, al
        mov al, ah
        out 0x40, al
        mov word [ticks], 0
        mov cx, 5
.wait:  sti
        hlt
        cli
        loop .wait
        cmp word [ticks], 5
        jb fail
        mov al, 't'
        jmp put

; Copies go on where an interrupt stopped them.
interrupted_strings:
        mov ax, BUFFER
        mov es, ax
        mov word [ticks], 0
        sti
.again: push ds
        mov ds, ax
        mov word [0], 0xabcd
        xor si, si
        mov di, 2
        mov cx, 0x7ff0
        rep movsw                       ; spreads the first word over the segment
        cmp word [0xffe0], 0xabcd
        pop ds
        jne fail
        cmp si, 0xffe0
        jne fail
        cmp word [ticks], 3
        jb .again
        cli
        mov al, 'R'
        jmp put

on_int: inc bx
        iret

on_divide:
on_undefined:
        push bp
        mov bp, sp
        push ax
        mov ax, [bp + 2]
        mov [faulted_at], ax
        mov ax, [resume]
        mov [bp + 2], ax
        pop ax
        pop bp
        iret

on_step:
        inc word [steps]
        iret

; May interrupt code with another DS.
on_timer:
        push ax
        inc word [cs:ticks]
        mov al, 0x20
        out 0x20, al
        pop ax
        iret

print:  lodsb
        test al, al
        jz .end
        call put
        jmp print
.end:   ret

; Sends AL, keeps all registers but the flags.
put:    push dx
        push ax
        mov dx, COM1 + 5
.busy:  in al, dx
        test al, 0x20
        jz .busy
        pop ax
        mov dx, COM1
        out dx, al
        pop dx
        ret

idtr:   dw 0x3ff
        dd 0
resume: dw 0
faulted_at:
        dw 0
steps:  dw 0
ticks:  dw 0
text_pass:
        db 10, "PASS", 10, 0
text_fail:
        db 10, "FAIL", 10, 0
real_bytes equ $ - $$
