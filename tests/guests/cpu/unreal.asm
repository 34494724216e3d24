; Unreal mode: a limit loaded in protected mode stays when real mode loads a selector (SDM 3A, 9.9.2).
%include "cpu.inc"
        START
        mov dword [0x200000], 0x12345678
        mov dword [0x200004], 0
        TO_REAL
        FROM_REAL
        jmp CODE16:REAL(code16)
bits 16
code16: mov ax, DATA
        mov ds, ax
        mov es, ax
        mov fs, ax
        mov ax, DATA16
        mov ss, ax
        mov eax, cr0
        and al, ~1
        mov cr0, eax
        jmp SEG16:REAL(real)
real:   mov ax, SEG16
        mov ss, ax
        mov sp, REAL(kernel_stack_end)
        lidt [cs:REAL(ivtr)]
        ; FS still has base 0 and 4 GiB.
        mov eax, [fs:dword 0x200000]
        CHECK_EQ eax, 0x12345678
        xor ax, ax
        mov es, ax                      ; base 0, the limit stays
        mov edi, 0x200004
        mov dword [es:edi], 0xabcd
        mov eax, [fs:dword 0x200004]
        CHECK_EQ eax, 0xabcd
        mov ax, SEG16
        mov ds, ax
        PASS
