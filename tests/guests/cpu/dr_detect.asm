; General detect: with DR7.GD any MOV of a debug register is #DB before it, and delivery clears GD (SDM 3A, 17.2.4).
%include "cpu.inc"
        START
        xor eax, eax
        mov dr6, eax
        mov eax, 1 << 13 | 0x400
        mov dr7, eax
        SET hook, note
        SET got_count, 0
.at:    mov eax, dr0
        NOTED got_count, 1
        NOTED got_vector, DEBUG
        NOTED got_ip, .at
        test dword [dr6_seen], 1 << 13  ; BD
        CHECK nz
        test dword [dr7_seen], 1 << 13
        CHECK z
        mov eax, dr7                    ; off now
        test eax, 1 << 13
        CHECK z
        PASS
note:   mov eax, dr6
        mov [dr6_seen], eax
        mov eax, dr7
        mov [dr7_seen], eax
        ret
dr6_seen: dd 0
dr7_seen: dd -1
