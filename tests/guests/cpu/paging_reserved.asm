; A reserved bit in an entry of 4 MiB is a page fault with RSVD and P (SDM 3A, 4.3, 4.7).
; QEMU leaves out P.
%include "cpu.inc"
        START
        PAGING
        mov eax, cr4
        or eax, 0x10
        mov cr4, eax
        mov dword [page_directory + 4], (1 << 21) + (P | W | U | PS_BIT)
        mov eax, cr3
        mov cr3, eax
        FAULTS PF, 9, mov al, [0x700000]
        PASS
