; Start of the guests written in C: a Multiboot header, a stack, and a GDT of their own.
bits 32

MAGIC   equ 0x1badb002
FLAGS   equ 3                           ; aligned modules, memory information

section .multiboot progbits alloc noexec nowrite align=4
        dd MAGIC, FLAGS, -(MAGIC + FLAGS)

section .text
global _start
extern guest_main
_start:
        lgdt [gdtr]
        jmp 0x08:.flush
.flush: mov cx, 0x10
        mov ds, cx
        mov es, cx
        mov fs, cx
        mov gs, cx
        mov ss, cx
        mov esp, stack_end
        xor ebp, ebp
        push ebx                        ; Multiboot information
        push eax                        ; magic
        call guest_main
.stop:  cli
        hlt
        jmp .stop

section .rodata
        align 8
gdt:    dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw $ - gdt - 1
        dd gdt

section .bss
        alignb 16
stack:  resb 16384
stack_end:
