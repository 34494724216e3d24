; A guest that does a bit of everything a timeline must get right: stores, calls, string instructions, timer and serial
; interrupts, and halts. It never ends.
%include "busy.inc"
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
        BUSY_CHIPS 0x20, 500
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
