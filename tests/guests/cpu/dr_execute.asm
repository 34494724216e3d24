; Breakpoints on instructions: a fault before the instruction, DR6, and each of the four (SDM 3A, 17.2, 17.3.1.1).
%include "cpu.inc"
        START
        SET hook, pass_once
%macro BREAK_AT 2                       ; register, address
        mov eax, %2
        mov dr%1, eax
        xor eax, eax
        mov dr6, eax
        mov eax, 2 << (%1 * 2)
        mov dr7, eax
        SET got_count, 0
%endmacro
        BREAK_AT 0, .a
        xor ebx, ebx
.a:     inc ebx
        NOTED got_count, 1
        NOTED got_ip, .a
        CHECK_EQ ebx, 1
        CHECK_EQ dword [ebx_seen], 0
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 1
        BREAK_AT 1, .b
.b:     nop
        NOTED got_ip, .b
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 2
        BREAK_AT 2, .c
.c:     nop
        NOTED got_ip, .c
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 4
        BREAK_AT 3, .d
.d:     nop
        NOTED got_ip, .d
        mov eax, [got_dr6]
        and eax, 0xe00f
        CHECK_EQ eax, 8
        ; In the middle of an instruction it does nothing, nor when it is off.
        BREAK_AT 0, .e + 1
.e:     mov eax, 0x90909090
        NOTED got_count, 0
        BREAK_AT 0, .f
        xor eax, eax
        mov dr7, eax
.f:     nop
        NOTED got_count, 0
        ; A loop: once for each time round.
        BREAK_AT 0, .g
        mov ecx, 5
.g:     loop .g
        NOTED got_count, 5
        PASS
pass_once:
        mov [ebx_seen], ebx
        or dword [ebp + F_FLAGS], F_RF
        ret
ebx_seen: dd -1
