; Firmware in a flash chip of 64 KiB that ends at 4 GiB, with a chip of 4 KiB below it for what it remembers. The first time it
; erases the block there, writes a letter into it and resets the machine; once it finds the letter, it writes the next and ends
; by isa-debug-exit at 0xf4, with the letter's code.

CHIP equ 0xffff0000
MEMORY equ CHIP - 0x1000
STACK equ 0x8000
CODE equ 8
DATA equ 16

READ_ARRAY equ 0xff
PROGRAM equ 0x40
READ_STATUS equ 0x70
CLEAR_STATUS equ 0x50
ERASE equ 0x20
CONFIRM equ 0xd0
READY equ 0x80

bits 16
start:
    cli
    o32 lgdt [cs:gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword CODE:CHIP + protected

bits 32
protected:
    mov ax, DATA
    mov ds, ax
    mov ss, ax
    mov esp, STACK
    mov ebx, MEMORY + 0x123
    cmp byte [ebx], 'a'
    je remembered
    mov byte [ebx], CLEAR_STATUS
    mov byte [ebx], ERASE
    mov byte [ebx], CONFIRM
    call wait_for_chip
    mov al, 'a'
    call program
    mov dx, 0xcf9
    mov al, 6
    out dx, al
    jmp $

remembered:
    ; The chip may have been left with its status: what it holds has just been seen.
    inc ebx
    mov al, 'b'
    call program
    mov al, [ebx]
    out 0xf4, al
    jmp $

; Programs AL at EBX.
program:
    mov byte [ebx], PROGRAM
    mov [ebx], al
wait_for_chip:
    mov byte [ebx], READ_STATUS
    cmp byte [ebx], READY
    jne wait_for_chip
    mov byte [ebx], READ_ARRAY
    ret

align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff
    dq 0x00cf93000000ffff
gdtr:
    dw $ - gdt - 1
    dd CHIP + gdt

    times 0xfff0 - ($ - $$) db 0xff
bits 16
    jmp near start
    times 0x10000 - ($ - $$) db 0xff
