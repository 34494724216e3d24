; PAE paging: 64-bit entries, 2 MiB pages, NX with EFER.NXE, reserved bits, PDPTEs checked by MOV CR3 (SDM 3A, 4.4).
%include "cpu.inc"
        START
        PAGING_PAE
        MAP64 PAGE1, 0, 0
        FAULTS PF, 2, mov [PAGE1 + 4], eax
        NOTED got_cr2, PAGE1 + 4
        ; NX is reserved without NXE.
        MAP64 PAGE1, PAGE1 + (P | W | U), 1 << 31
        FAULTS PF, 9, mov al, [PAGE1]
        mov ecx, 0xc0000080
        rdmsr
        or eax, 1 << 11
        wrmsr
        QUIET mov al, [PAGE1]
        FAULTS_ELSEWHERE PF, 0x11, call PAGE1
        NOTED got_cr2, PAGE1
        add esp, 4
        ; Physical address bits beyond the processor's.
        MAP64 PAGE2, PAGE2 + (P | W | U), 1 << 29
        FAULTS PF, 9, mov al, [PAGE2]
        TO_RING3
        FAULTS PF, 0xd, mov al, [PAGE2]
        FAULTS_ELSEWHERE PF, 0x15, {jmp PAGE1}
        TO_RING0
        ; 2 MiB pages.
        mov dword [page_directory + 16], 0x200000 + (P | W | U | PS_BIT)
        mov dword [page_directory + 20], 0
        mov dword [PAGE3], 0x1234
        mov eax, [0x400000 + PAGE3 - 0x200000]
        CHECK_EQ eax, 0x1234
        mov eax, [page_directory + 16]
        and eax, 0xfff
        CHECK_EQ eax, P | W | U | PS_BIT | A
        PASS
