; A firmware image of 64 KiB that resets the machine in each way a PC has, counts in RAM how often it began, and ends by
; isa-debug-exit with that number.
bits 16
org 0

COUNT equ 0x500

start:
    xor ax, ax
    mov ds, ax
    mov bx, [COUNT]
    inc word [COUNT]
    cmp bx, 4
    jae done
    shl bx, 1
    jmp [cs:bx + ways]

ways: dw port_92, port_cf9, keyboard_controller, triple_fault

port_92:
    in al, 0x92
    or al, 1
    out 0x92, al
    jmp wait_for_it

port_cf9:
    mov dx, 0xcf9
    mov al, 0x02
    out dx, al
    mov al, 0x06
    out dx, al
    jmp wait_for_it

keyboard_controller:
    mov al, 0xfe
    out 0x64, al
    jmp wait_for_it

triple_fault:
    lidt [cs:no_vectors]
    int3

wait_for_it:
    cli
    hlt
    jmp wait_for_it

done:
    mov al, [COUNT]
    out 0xf4, al
    jmp wait_for_it

no_vectors:
    dw 0
    dd 0

times 0xfff0 - ($ - $$) db 0xff
    jmp 0xf000:start
times 0x10000 - ($ - $$) db 0xff
