; SMSW to a register of 32 bits gets all of CR0, to one of 16 bits its lower half (AMD APM 3, SMSW).
%include "cpu.inc"
        START
        PAGING
        mov ecx, cr0
        mov eax, 0x12345678
        smsw eax
        CHECK_EQ eax, ecx
        mov eax, 0x12345678
        smsw ax
        movzx edx, cx
        or edx, 0x12340000
        CHECK_EQ eax, edx
        mov dword [scratch], 0x12345678
        smsw [scratch]
        CHECK_EQ [scratch], edx
        TO_RING3
        smsw eax
        CHECK_EQ eax, ecx
        PASS
