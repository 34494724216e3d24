; Real mode: offsets beyond 64 KiB by 32-bit addressing, and a word at a fixed address across the end (SDM 3A, 20.1.1).
; QEMU has no limits of data segments.
%include "cpu.inc"
        START
        TO_REAL
        mov ebx, 0xfffc
        QUIET mov eax, [ebx]
        mov ebx, 0xfffd
        FAULTS GP, 0, mov eax, [ebx]
        mov ebx, 0x10000
        FAULTS GP, 0, mov al, [ebx]
        FAULTS GP, 0, mov [ebx], al
        FAULTS GP, 0, inc byte [ebx]
        FAULTS GP, 0, lock add byte [es:ebx], 1
        FAULTS GP, 0, mov ax, [0xffff]
        QUIET mov al, [0xffff]
        mov ebp, 0x10000
        FAULTS SS_FAULT, 0, mov ax, [ebp]
        mov ebp, 0xfffe
        QUIET mov ax, [ebp]
        ; Registers that change on the way.
        mov ebx, 0xfff0
        mov ecx, 0x20
        SET got_count, 0
        SET_IP resume, .behind
        mov eax, [ebx]
        add ebx, 8
        mov eax, [ebx]
        add ebx, ecx
.at:    mov eax, [ebx]
.behind:
        SET resume, 0
        NOTED got_count, 1
        NOTED got_vector, GP
        NOTED_IP got_ip, .at
        ; A REP with nothing to do does nothing.
        xor ecx, ecx
        mov esi, 0x20000
        mov edi, 0x20000
        QUIET a32 rep movsb
        ; An iteration that leaves the segment is not done, those before it are.
        mov ecx, 4
        mov esi, 0xfffe
        mov edi, REAL(scratch)
        FAULTS GP, 0, a32 rep movsb
        CHECK_EQ ecx, 2
        CHECK_EQ esi, 0x10000
        PASS
