; What a Multiboot kernel finds: its command line, its modules with their strings, and the chips as somebody left them. All of it
; goes to the first serial port, a line for each thing; then the machine ends by isa-debug-exit with 0.

bits 32

MAGIC equ 0x1badb002
FLAGS equ 3
COM1 equ 0x3f8

section .multiboot
    dd MAGIC, FLAGS, -(MAGIC + FLAGS)

section .text
global _start
_start:
    mov esp, stack_end
    cmp eax, 0x2badb002
    jne finish
    mov esi, [ebx + 16]             ; command line
    call put_string
    mov ecx, [ebx + 20]             ; modules
    mov edi, [ebx + 24]
.module:
    jecxz .modules_done
    mov esi, [edi + 8]
    call put_string
    mov esi, [edi]                  ; a module is a string here
    call put_string
    add edi, 16
    dec ecx
    jmp .module
.modules_done:
    cmp dword [bss], 0              ; cleared, whatever was there
    jne finish
    xor eax, eax
    in al, 0x21                     ; interrupt masks
    mov ah, al
    in al, 0xa1
    call put_word
    mov dx, 0x4d1                   ; levels
    in al, dx
    call put_word
    mov eax, [0xfee000f0]           ; local APIC: on, and its two inputs
    call put_word
    mov eax, [0xfee00350]
    call put_word
    mov eax, [0xfee00360]
    call put_word
    in al, 0x92                     ; A20
    call put_word
    mov al, 0xe2                    ; read-back of counter 0: its mode
    out 0x43, al
    in al, 0x40
    and al, 0x3f
    call put_word
    mov al, 0x20                    ; command byte of the keyboard controller
    out 0x64, al
.wait:
    in al, 0x64
    test al, 1
    jz .wait
    in al, 0x60
    call put_word
    xor eax, eax
    mov dx, 0xf4
    out dx, al
finish:
    cli
    hlt
    jmp finish

; The string at ESI, and a line feed.
put_string:
    lodsb
    test al, al
    jz put_newline
    call put_byte
    jmp put_string

put_newline:
    mov al, 10
put_byte:
    mov dx, COM1
    out dx, al
    ret

; AX as four digits, and a line feed.
put_word:
    push ecx
    mov ecx, 4
.digit:
    rol ax, 4
    push eax
    and al, 15
    add al, '0'
    cmp al, '9'
    jbe .decimal
    add al, 'a' - '0' - 10
.decimal:
    call put_byte
    pop eax
    loop .digit
    call put_newline
    pop ecx
    xor eax, eax
    ret

section .bss
bss: resb 0x300000
stack: resb 0x1000
stack_end:
