; Global pages with CR4.PGE: INVLPG and a change of CR4 make a new entry valid (SDM 3A, 4.10).
%include "cpu.inc"
        START
        mov dword [PAGE1], 1
        mov dword [PAGE2], 2
        PAGING
        mov eax, cr4
        or eax, 0x80
        mov cr4, eax
        MAP PAGE3, PAGE1 + (P | W | G)
        CHECK_EQ dword [PAGE3], 1
        mov dword [PTE(PAGE3)], PAGE2 + (P | W | G)
        invlpg [PAGE3]
        CHECK_EQ dword [PAGE3], 2
        mov dword [PTE(PAGE3)], PAGE1 + (P | W | G)
        mov eax, cr4
        and eax, ~0x80
        mov cr4, eax
        CHECK_EQ dword [PAGE3], 1
        ; Not global: a load of CR3 is enough.
        mov dword [PTE(PAGE3)], PAGE2 + (P | W)
        mov eax, cr3
        mov cr3, eax
        CHECK_EQ dword [PAGE3], 2
        PASS
