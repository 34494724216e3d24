; Interrupt and trap gates of 16 bits: a frame of words (SDM 3A, 6.12.1).
%include "cpu.inc"
        START
        ; The handler lies in a 16-bit segment, the frame has three words.
        GATE 0x41, CODE16, REAL(handler), 0x86
        mov edi, 0x12345678
        mov esi, esp
        jmp CODE16:REAL(in16)
bits 16
in16:   stc
        int 0x41
after:  jmp dword CODE:back
handler:
        mov ebp, esp
        pushf
        pop ax
        mov [dword handler_flags], eax
        iret
bits 32
back:   mov eax, esi
        sub eax, 6
        CHECK_EQ ebp, eax
        CHECK_EQ esp, esi
        mov ax, [ebp]
        CHECK_EQ ax, REAL(after)
        mov ax, [ebp + 2]
        CHECK_EQ ax, CODE16
        mov ax, [ebp + 4]
        test ax, F_CF
        CHECK nz
        test dword [handler_flags], F_IF
        CHECK z
        ; An error code is a word too: #GP for the selector of a segment beyond the table.
        GATE GP, CODE16, REAL(gp16), 0x87
        mov esi, esp
        mov ax, 0x7fe8
        mov dword [resume], .resumed
.at:    mov ds, ax
.resumed:
        lea eax, [esi - 8]
        CHECK_EQ ebp, eax
        mov ax, [ebp]
        CHECK_EQ ax, 0x7fe8
        PASS
bits 16
gp16:   mov ebp, esp
        mov esp, esi
        jmp dword CODE:gates16_end
bits 32
gates16_end:
        jmp [resume]
