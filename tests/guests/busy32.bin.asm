; A guest that does a bit of everything a timeline must get right: stores, calls, string instructions, timer and serial
; interrupts, and halts. It never ends.
bits 32
org 0x100000

header: dd 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd header, header, 0, 0, start

start:  mov esp, 0x90000
        lgdt [gdtr]
        jmp 0x08:flat
flat:   mov ax, 0x10
        mov ds, ax
        mov es, ax
        mov ss, ax
        ; all vectors to one handler, by an IDT at 0x80000
        mov edi, 0x80000
        mov ecx, 256
gates:  mov eax, handler
        and eax, 0xffff
        or eax, 0x00080000
        stosd
        mov eax, handler
        and eax, 0xffff0000
        or eax, 0x8e00
        stosd
        loop gates
        lidt [idtr]
        ; 8259A pair: ICW1 to ICW4, then only IRQ 0 and 4
        mov al, 0x11
        out 0x20, al
        out 0xa0, al
        mov al, 0x20
        out 0x21, al
        mov al, 0x28
        out 0xa1, al
        mov al, 4
        out 0x21, al
        mov al, 2
        out 0xa1, al
        mov al, 1
        out 0x21, al
        out 0xa1, al
        mov al, 0xee
        out 0x21, al
        mov al, 0xff
        out 0xa1, al
        ; 8254 channel 0, mode 2, every 500 ticks
        mov al, 0x34
        out 0x43, al
        mov ax, 500
        out 0x40, al
        mov al, ah
        out 0x40, al
        ; 16550A: interrupt when a byte has come
        mov dx, 0x3f9
        mov al, 1
        out dx, al
        mov dx, 0x3fc
        mov al, 0x0b
        out dx, al
        sti
        xor ebx, ebx

again:  inc ebx
        mov [0x200000], ebx
        mov eax, ebx
        imul eax, eax, 1103515245
        and eax, 0xffff
        mov [0x210000 + eax], bl
        call work
        test ebx, 63
        jnz .no_string
        mov esi, 0x210000
        mov edi, 0x230000
        mov ecx, 300
        rep movsb
.no_string:
        test ebx, 255
        jnz again
        hlt
        jmp again

work:   push ebx
        mov ecx, 5
.more:  add ebx, ecx
        dec ecx
        jnz .more
        mov [0x200010], ebx
        pop ebx
        ret

handler:
        push eax
        push edx
        inc dword [0x200020]
        mov dx, 0x3fd
        in al, dx
        test al, 1
        jz .done
        mov dx, 0x3f8
        in al, dx
        mov [0x200030], al
.done:  mov al, 0x20
        out 0x20, al
        pop edx
        pop eax
        iret

        align 8
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw 23
        dd gdt
idtr:   dw 2047
        dd 0x80000
