; 32-bit paging: error codes by presence, write, level and fetch; CR2; accessed and dirty bits; WP; 4 MiB pages (SDM 3A, 4.3, 4.7, 4.8).
%include "cpu.inc"
        START
        PAGING
        MAP PAGE1, 0
        FAULTS PF, 0, mov al, [PAGE1 + 0x123]
        NOTED got_cr2, PAGE1 + 0x123
        FAULTS PF, 2, mov [PAGE1 + 0xfff], al
        NOTED got_cr2, PAGE1 + 0xfff
        FAULTS_ELSEWHERE PF, 0, call PAGE1
        NOTED got_cr2, PAGE1
        NOTED got_ip, PAGE1
        add esp, 4
        ; Accessed and dirty.
        MAP PAGE1, PAGE1 + (P | W | U)
        mov al, [PAGE1]
        mov eax, [PTE(PAGE1)]
        and eax, 0xfff
        CHECK_EQ eax, P | W | U | A
        mov [PAGE1], al
        mov eax, [PTE(PAGE1)]
        and eax, 0xfff
        CHECK_EQ eax, P | W | U | A | D
        test dword [page_directory], A
        CHECK nz
        ; A fault sets neither.
        MAP PAGE2, PAGE2 + (P | U)
        FAULTS PF, 3, mov [PAGE2], al
        mov eax, [PTE(PAGE2)]
        and eax, 0xfff
        CHECK_EQ eax, P | U
        ; Without WP level 0 may.
        mov eax, cr0
        and eax, ~(1 << 16)
        mov cr0, eax
        QUIET mov [PAGE2], al
        mov eax, cr0
        or eax, 1 << 16
        mov cr0, eax
        FAULTS PF, 3, mov [PAGE2], al
        MAP PAGE3, PAGE3 + (P | W)
        TO_RING3
        FAULTS PF, 5, mov al, [PAGE3]
        FAULTS PF, 7, mov [PAGE3], al
        FAULTS PF, 7, mov [PAGE2], al
        FAULTS_ELSEWHERE PF, 5, {jmp PAGE3}
        TO_RING0
        ; The directory's bits count too.
        and dword [page_directory], ~U
        mov eax, cr3
        mov cr3, eax
        QUIET mov al, [PAGE1]
        or dword [page_directory], U
        ; 4 MiB pages with PSE only; the second 4 MiB.
        mov eax, cr4
        or eax, 0x10
        mov cr4, eax
        mov dword [page_directory + 4], 0 + (P | W | U | PS_BIT)
        mov dword [0x300000], 0x55667788
        mov eax, [0x700000]
        CHECK_EQ eax, 0x55667788
        mov dword [0x700000], 1
        CHECK_EQ dword [0x300000], 1
        mov eax, [page_directory + 4]
        CHECK_EQ eax, P | W | U | PS_BIT | A | D
        PASS
