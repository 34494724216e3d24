; SMEP and SMAP where the processor has them: supervisor fetches and accesses of user pages, STAC and CLAC (SDM 3A, 4.6).
%include "cpu.inc"
        START
        mov eax, 7
        xor ecx, ecx
        cpuid
        mov [features], ebx
        PAGING
        ; The kernel's own pages are not the user's.
        mov ecx, 0x100
.own:   and dword [page_table + ecx * 4 - 4], ~U
        loop .own
        mov eax, cr3
        mov cr3, eax
        mov byte [PAGE1], 0xc3
        test dword [features], 1 << 7
        jz .no_smep
        mov eax, cr4
        or eax, 1 << 20
        mov cr4, eax
        FAULTS_ELSEWHERE PF, 0x11, call PAGE1
        add esp, 4
        jmp .smap
.no_smep:
        mov eax, cr4
        or eax, 1 << 20
        FAULTS GP, 0, mov cr4, eax
.smap:  test dword [features], 1 << 20
        jz .no_smap
        mov eax, cr4
        or eax, 1 << 21
        mov cr4, eax
        FAULTS PF, 1, mov al, [PAGE1]
        FAULTS PF, 3, mov [PAGE1], al
        stac
        QUIET mov al, [PAGE1]
        clac
        FAULTS PF, 1, mov al, [PAGE1]
        PASS
.no_smap:
        mov eax, cr4
        or eax, 1 << 21
        FAULTS GP, 0, mov cr4, eax
        PASS
features: dd 0
