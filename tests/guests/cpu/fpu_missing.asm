; #NM by CR0.TS and EM, WAIT by TS and MP, #UD of SSE by EM and without CR4.OSFXSR (SDM 3A, table 9-1, 2.5).
%include "cpu.inc"
        START
        mov eax, cr4
        or eax, 1 << 9
        mov cr4, eax
%macro CR0_BITS 1                       ; of MP 2, EM 4, TS 8
        mov eax, cr0
        and eax, ~14
        or eax, %1
        mov cr0, eax
%endmacro
        CR0_BITS 2
        QUIET fld1
        QUIET fwait
        QUIET movaps xmm0, xmm1
        QUIET emms
        CR0_BITS 2 | 8
        FAULTS NM, 0, fld1
        FAULTS NM, 0, fwait
        FAULTS NM, 0, movaps xmm0, xmm1
        FAULTS NM, 0, emms
        FAULTS NM, 0, fninit
        CR0_BITS 8
        FAULTS NM, 0, fld1
        QUIET fwait
        CR0_BITS 4
        FAULTS NM, 0, fld1
        FAULTS UD, 0, emms
        FAULTS UD, 0, movaps xmm0, xmm1
        QUIET fwait
        CR0_BITS 8 | 2
        clts
        QUIET fld1
        CR0_BITS 2
        mov eax, cr4
        and eax, ~(1 << 9)
        mov cr4, eax
        FAULTS UD, 0, movaps xmm0, xmm1
        QUIET emms
        PASS
