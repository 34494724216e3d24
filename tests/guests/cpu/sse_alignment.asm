; Operands of 16 bytes must be aligned, but for those of a few instructions (SDM 1, 10.4.1.1 and 11.3): #GP(0) whatever the segment, with no
; effect, before the page is looked at, and behind #NM and #UD.
%include "cpu.inc"
        START
        mov eax, cr4
        or eax, 1 << 9
        mov cr4, eax
        pcmpeqd xmm1, xmm1
        pxor xmm0, xmm0
        mov ebx, aligned
        ; At every distance from 16 bytes, by one register.
        mov ecx, 1
.next:  lea esi, [aligned + ecx]
        FAULTS GP, 0, {movaps xmm1, [esi]}
        FAULTS GP, 0, {movaps [esi], xmm1}
        FAULTS GP, 0, {movdqa [esi + 16], xmm1}
        FAULTS GP, 0, {movntdq [esi - 16], xmm1}
        FAULTS GP, 0, {addps xmm0, [esi]}
        FAULTS GP, 0, {pxor xmm1, [esi]}
        QUIET movups xmm2, [esi]
        QUIET movdqu [esi], xmm2
        QUIET movsd xmm2, [esi]
        inc ecx
        cmp ecx, 16
        jb .next
        NOTED aligned, 0
        movmskps eax, xmm1
        CHECK_EQ eax, 0xf
        ; The register changes in the same piece of code; the operand before is written, that behind is not.
        mov dword [scratch], 0
        mov esi, aligned
        SET_IP resume, .behind
        SET got_count, 0
        movaps [esi], xmm1
        add esi, 4
        mov dword [scratch], 1
        mov edi, esi
.here:  movaps [edi], xmm1
        mov dword [scratch], 2
.behind:
        NOTED got_vector, GP
        NOTED_IP got_ip, .here
        NOTED scratch, 1
        NOTED aligned, -1
        NOTED aligned + 16, 0
        ; By two registers, and with a base that makes up for it.
        mov esi, 8
        QUIET movaps xmm2, [ebx + esi * 2]
        FAULTS GP, 0, {movaps xmm2, [ebx + esi]}
        DESC SLOT1, 8, 0xfffff, 0x93, 0xc
        mov ax, SLOT1
        mov fs, ax
        QUIET movaps xmm2, [fs:ebx + 8]
        FAULTS GP, 0, {movaps xmm2, [fs:ebx]}
        FAULTS GP, 0, {movaps xmm2, [fs:aligned]}
        QUIET movaps xmm2, [fs:aligned + 8]
        ; On the stack too it is #GP.
        lea ebp, [esp - 20]
        and ebp, ~15
        FAULTS GP, 0, {movaps [ebp + 4], xmm2}
        ; Where no page is.
        PAGING
        MAP PAGE2, 0
        mov esi, PAGE2 + 8
        FAULTS GP, 0, {movaps xmm2, [esi]}
        add esi, 8
        FAULTS PF, 0, {movaps xmm2, [esi]}
        ; What comes first.
        lea esi, [ebx + 1]
        mov eax, cr0
        or eax, 1 << 3
        mov cr0, eax
        FAULTS NM, 0, {movaps xmm2, [esi]}
        xor eax, 1 << 2 | 1 << 3
        mov cr0, eax
        FAULTS UD, 0, {movaps xmm2, [esi]}
        xor eax, 1 << 2
        mov cr0, eax
        PASS
        align 16
aligned: times 64 db 0
