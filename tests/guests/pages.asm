; Stores to memory whose neighbouring pages are not neighbours in physical memory.
; Linear 0x400000 is physical 0x300000, linear 0x401000 is physical 0x350000.
bits 32
section .text
align 4
    dd 0x1badb002, 0, -0x1badb002

global _start
_start:
    mov esp, 0x90000
    mov edi, 0x200000               ; page directory, a table for the first 4 MiB, a table for the next
    xor eax, eax
    mov ecx, 0x3000 / 4
    rep stosd
    mov edi, 0x201000
    mov eax, 3
    mov ecx, 1024
.identity:
    stosd
    add eax, 0x1000
    loop .identity
    mov dword [0x200000], 0x201003
    mov dword [0x200004], 0x202003
    mov dword [0x202000], 0x300003
    mov dword [0x202004], 0x350003
    mov eax, 0x200000
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax

    mov dword [0x400ffc], 0x11111111
    mov dword [0x401000], 0x22222222
    mov dword [0x301000], 0x33333333    ; what lies behind the first page in physical memory, and nowhere near
    mov dword [0x400ffe], 0x44444444    ; both pages

    mov al, 0x10
    out 0xf4, al
    jmp $
