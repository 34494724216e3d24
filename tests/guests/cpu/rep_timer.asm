; A REP that is interrupted goes on where it was: the counts and addresses in the frame belong together (SDM 2B, REP).
%include "cpu.inc"
        START
        SET hook, tick
        SET got_count, 0
        mov al, 0x34
        out 0x43, al
        mov al, 200
        out 0x40, al
        xor al, al
        out 0x40, al
        mov al, 0xfe
        out 0x21, al
        sti
.again: mov edi, 0x300000
        mov ecx, 0x8000
        mov eax, 0x5a5a5a5a
        cld
        rep stosd
        CHECK_EQ edi, 0x320000
        cmp dword [inside], 3
        jb .again
        cli
        mov edi, 0x300000
        mov ecx, 0x8000
        repe scasd
        CHECK e
        PASS
tick:   mov ax, [got_vector]
        cmp ax, 0x20
        CHECK e
        mov al, 0x20
        out 0x20, al
        mov eax, [ebp + F_EIP]
        cmp word [eax], 0xabf3
        jne .not
        ; EDI and ECX of the frame: 4 * (0x8000 - ECX) have been written.
        mov ecx, [ebp + 32]
        mov edi, [ebp + 8]
        mov eax, 0x8000
        sub eax, ecx
        lea eax, [eax * 4 + 0x300000]
        CHECK_EQ eax, edi
        test ecx, ecx
        jz .not
        inc dword [inside]
.not:   ret
inside: dd 0
