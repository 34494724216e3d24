; SSE3 to SSE4.2 at their edges: explicit lengths of strings (SDM 2B, 4.1.1), the same register twice (PHADDD), the suppressed
; precision exception (ROUNDPD), operands that must be aligned.
; QEMU 7.2 reads beyond a register for the length -2^31.
%include "cpu.inc"
        START
        mov eax, cr4
        or eax, 3 << 9
        mov cr4, eax
        ; Lengths count by their absolute value, up to 16.
        movdqu xmm1, [numbers]
        movdqu xmm2, [numbers]
        mov eax, 0x80000000
        mov edx, 0x80000000
        pcmpestri xmm1, xmm2, 0x18      ; equal each, negated: the first that differs, or 16
        CHECK_EQ ecx, 16
        CHECK_EQ eax, 0x80000000
        CHECK_EQ edx, 0x80000000
        mov eax, -3
        mov edx, 1000
        pcmpestri xmm1, xmm2, 0x18
        CHECK_EQ ecx, 3
        CHECK_EQ eax, -3
        CHECK_EQ edx, 1000
        mov eax, 0x80000000
        mov edx, 2
        pcmpestrm xmm1, xmm2, 0x58      ; a byte for each
        movd ebx, xmm0
        CHECK_EQ ebx, 0xffff0000
        CHECK_EQ eax, 0x80000000
        ; A fault of the operand leaves the registers as they were.
        PAGING
        MAP PAGE1, 0
        mov eax, 0x80000000
        mov edx, 77
        FAULTS PF, 0, {pcmpestri xmm1, [PAGE1 + 3], 0x18}
        CHECK_EQ eax, 0x80000000
        CHECK_EQ edx, 77
        ; Neighbours of one register.
        movdqu xmm1, [numbers]
        phaddd xmm1, xmm1
        movdqu [scratch], xmm1
        CHECK_EQ dword [scratch], 0x0c0a0806
        CHECK_EQ dword [scratch + 4], 0x1c1a1816
        CHECK_EQ dword [scratch + 8], 0x0c0a0806
        CHECK_EQ dword [scratch + 12], 0x1c1a1816
        movdqu xmm1, [numbers]
        phsubw xmm1, xmm1
        movdqu [scratch], xmm1
        CHECK_EQ dword [scratch + 4], 0xfdfefdfe
        CHECK_EQ dword [scratch + 12], 0xfdfefdfe
        movq mm3, [numbers]
        phaddw mm3, mm3
        movq [scratch], mm3
        emms
        CHECK_EQ dword [scratch], 0x0e0c0604
        CHECK_EQ dword [scratch + 4], 0x0e0c0604
        ; Rounding without a note of it, and with one.
        mov dword [scratch], 0x1f80
        ldmxcsr [scratch]
        movsd xmm1, [half]
        roundsd xmm2, xmm1, 8
        stmxcsr [scratch]
        CHECK_EQ dword [scratch], 0x1f80
        roundsd xmm2, xmm1, 0
        stmxcsr [scratch]
        CHECK_EQ dword [scratch], 0x1fa0
        roundsd xmm2, xmm1, 8
        stmxcsr [scratch]
        CHECK_EQ dword [scratch], 0x1fa0
        ; Alignment.
        mov esi, numbers + 1
        FAULTS GP, 0, {cvtpd2pi mm0, [esi]}
        FAULTS GP, 0, {cvttpd2pi mm0, [esi]}
        QUIET {pcmpestri xmm1, [esi], 0x18}
        PASS
align 16
numbers: db 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
align 8
half:   dq 2.5
