; MSRs: those that do not exist and values that they refuse are #GP(0); those that exist keep what they are given (SDM 4).
%include "cpu.inc"
        START
        mov ecx, 0x12345678
        FAULTS GP, 0, rdmsr
        FAULTS GP, 0, wrmsr
        mov ecx, 0x277                  ; PAT
        rdmsr
        CHECK_EQ eax, 0x00070406
        mov ecx, 0x174
        mov eax, 0x1234
        xor edx, edx
        wrmsr
        rdmsr
        CHECK_EQ eax, 0x1234
        mov ecx, 0x175
        mov eax, 0x89abcdef
        xor edx, edx
        wrmsr
        rdmsr
        CHECK_EQ eax, 0x89abcdef
        CHECK_EQ edx, 0
        ; EFER has reserved bits; LME stays as it is with paging on.
        mov ecx, 0xc0000080
        rdmsr
        or eax, 1 << 8
        wrmsr
        rdmsr
        test eax, 1 << 8
        CHECK nz
        test eax, 1 << 10
        CHECK z
        PASS
