; Compatibility mode: 32-bit code in long mode, exceptions to 64-bit handlers, and the way back (SDM 1, 3.1.1).
%include "cpu.inc"
        START
        TO_LONG
        push CODE32
        push in32
        retfq
bits 32
in32:   mov eax, 0xffffffff
        inc eax
        CHECK z
        mov ax, cs
        CHECK_EQ ax, CODE32
        FAULTS UD, 0, ud2
        NOTED got_cs, CODE32
        push dword 5                    ; four bytes
        CHECK_EQ dword [esp], 5
        add esp, 4
        db 0x48                         ; DEC EAX here
        db 0x90
        CHECK_EQ ax, CODE32 - 1
        jmp CODE:in64
bits 64
in64:   mov rax, 0x123456789
        shr rax, 32
        CHECK_EQ eax, 1
        PASS
